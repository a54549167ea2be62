// What `prepare_cloud` makes in a resource group, by hand. The test tests/azure/test_infra.py holds both to the same resources.
targetScope = 'resourceGroup'

@description('Region of everything; it must offer the profiles.')
param location string = resourceGroup().location

@description('The 8 characters in the names, as a dry run of prepare_cloud shows them.')
@minLength(8)
@maxLength(8)
param suffix string

@description('The id of the home that may use this, as a dry run of prepare_cloud shows it. It becomes a tag.')
param workspace string

@description('Workload profiles. Serverless ones cost nothing while nothing runs.')
param profiles array = [
  'Consumption'
  'Consumption-GPU-NC8as-T4'
  'Consumption-GPU-NC24-A100'
]

var tags = {
  'luthier-managed': '1'
  'luthier-workspace': workspace
}

resource account 'Microsoft.Storage/storageAccounts@2025-08-01' = {
  name: 'luthier${suffix}'
  location: location
  tags: tags
  kind: 'StorageV2'
  sku: {
    name: 'Standard_LRS'
  }
  properties: {
    supportsHttpsTrafficOnly: true
    minimumTlsVersion: 'TLS1_2'
    allowBlobPublicAccess: false
    allowSharedKeyAccess: true // Containers can mount a share by key only.
    largeFileSharesState: 'Enabled'
  }
}

resource share 'Microsoft.Storage/storageAccounts/fileServices/shares@2025-08-01' = {
  name: '${account.name}/default/luthier'
  properties: {
    shareQuota: 1024 // GiB; what it holds is paid for, not this.
  }
}

resource logs 'Microsoft.OperationalInsights/workspaces@2025-07-01' = {
  name: 'luthier-log-${suffix}'
  location: location
  tags: tags
  properties: {
    sku: {
      name: 'PerGB2018'
    }
    retentionInDays: 30
    workspaceCapping: {
      dailyQuotaGb: 1
    }
  }
}

resource environment 'Microsoft.App/managedEnvironments@2026-01-01' = {
  name: 'luthier-env-${suffix}'
  location: location
  tags: tags
  properties: {
    appLogsConfiguration: {
      destination: 'log-analytics'
      logAnalyticsConfiguration: {
        customerId: logs.properties.customerId
        sharedKey: logs.listKeys().primarySharedKey
      }
    }
    workloadProfiles: [for profile in profiles: {
      name: profile
      workloadProfileType: profile
    }]
    zoneRedundant: false
  }
}

resource readWrite 'Microsoft.App/managedEnvironments/storages@2026-01-01' = {
  parent: environment
  name: 'luthier-rw'
  properties: {
    azureFile: {
      accountName: account.name
      accountKey: account.listKeys().keys[0].value
      shareName: last(split(share.name, '/'))
      accessMode: 'ReadWrite'
    }
  }
}

resource readOnly 'Microsoft.App/managedEnvironments/storages@2026-01-01' = {
  parent: environment
  name: 'luthier-ro'
  properties: {
    azureFile: {
      accountName: account.name
      accountKey: account.listKeys().keys[0].value
      shareName: last(split(share.name, '/'))
      accessMode: 'ReadOnly'
    }
  }
}

output environmentId string = environment.id
output storageAccount string = account.name
output defaultDomain string = environment.properties.defaultDomain
